-- What a start has to know so that it decides what the coordinator would have decided that ended.
ALTER TABLE track ADD COLUMN asked TEXT NOT NULL DEFAULT 'none'; -- what a person asked the next build for, by its reason
ALTER TABLE base ADD COLUMN gone INTEGER NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)); -- its error: there is no such thing
ALTER TABLE retention ADD COLUMN error TEXT; -- of the last PUT; NULL: none
