-- How long until the last good child of a platform that does not gate counts as stale.
ALTER TABLE slot ADD COLUMN stale_left INTEGER NOT NULL DEFAULT -1; -- 0: it does; -1: it is up to date
