-- Which boards a job may go to, known to a start too where no track wants its key any more.
ALTER TABLE job ADD COLUMN buildah INTEGER NOT NULL DEFAULT 0; -- the oldest that builds it: 1041 is 1.41; 0: every one does
ALTER TABLE job ADD COLUMN buildah_for TEXT; -- the line that wants it, and what is there; NULL: none does
