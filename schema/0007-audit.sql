-- What an audit found under a tag of ours instead of what it should name.
ALTER TABLE tag ADD COLUMN found TEXT;   -- a digest; '': nothing; NULL: as it should be
ALTER TABLE tag ADD COLUMN adopted TEXT; -- a digest that a person took for granted
