-- What scheduling has learnt of durations.
ALTER TABLE slot ADD COLUMN work_ms INTEGER NOT NULL DEFAULT 0; -- on a board of speed 1000; 0: not known
ALTER TABLE board ADD COLUMN speed INTEGER NOT NULL DEFAULT 0;  -- 0: not known
