-- What people decided about a track, and a record of who did what, when and why.

ALTER TABLE track ADD COLUMN held_by TEXT;
ALTER TABLE track ADD COLUMN held_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE track ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;   -- publication that its tags stay at; 0: none
ALTER TABLE track ADD COLUMN promoted INTEGER NOT NULL DEFAULT 0; -- build that its hold lets through; 0: none
ALTER TABLE track ADD COLUMN retired INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1));

-- Only ever added to, and only those that changed something.
CREATE TABLE action (
    id INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    verb TEXT NOT NULL,
    track TEXT, -- NULL: the whole farm, or one job
    job TEXT,
    reason TEXT, -- as the person gave it
    text TEXT NOT NULL -- what was changed
) STRICT;

CREATE INDEX action_track ON action (track, id);
