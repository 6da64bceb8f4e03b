-- How often a job has settled as failed in a row (its delay doubles with it), and who is to blame should another
-- board succeed; what a board is quarantined for, and what takes it out again.
ALTER TABLE job ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN suspect TEXT; -- the board of its last failure by itself; NULL: none
ALTER TABLE board ADD COLUMN good INTEGER NOT NULL DEFAULT 0; -- successes since it was last blamed
ALTER TABLE board ADD COLUMN boot TEXT; -- of its last session
