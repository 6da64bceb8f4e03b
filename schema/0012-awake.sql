-- Why a track that is not dormant is kept in date: always; as long as something in date is built on it (needed); until it
-- is published (once); since a person woke it (asked). What is awake at this migration stays so.
ALTER TABLE track ADD COLUMN awake TEXT NOT NULL DEFAULT 'always' CHECK (awake IN ('always', 'needed', 'once', 'asked'));
