-- Whether a board is to be told that it is to stop an attempt: its job may be wanted again meanwhile, by another attempt.
ALTER TABLE attempt ADD COLUMN cancel INTEGER NOT NULL DEFAULT 0;
UPDATE attempt SET cancel = 1
 WHERE (state IN ('granted', 'running') AND (SELECT state FROM job WHERE key = job_key) IN ('wanted', 'cancelled'))
    OR (state = 'lost' AND (SELECT state FROM job WHERE key = job_key) = 'cancelled');
