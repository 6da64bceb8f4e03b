-- Retention tags: places under which the registry keeps what it would else collect. Each track has a ring of them for
-- each platform's children and one for its indexes; they are moved, never deleted.
CREATE TABLE retention (
    repository TEXT NOT NULL,
    name TEXT NOT NULL,
    track TEXT NOT NULL REFERENCES track,
    kind TEXT NOT NULL,  -- a platform, or 'index'
    digest TEXT,         -- what it names; NULL: nothing yet, or it is not known
    wanted TEXT,         -- what it is to name; NULL: nothing in particular
    PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;

-- Publications that are kept no longer, for people. Only ever added to.
CREATE TABLE past_publication (
    id INTEGER NOT NULL PRIMARY KEY,
    repository TEXT NOT NULL,
    track TEXT NOT NULL,
    build INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    digest TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL
) STRICT;
