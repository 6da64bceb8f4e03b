-- The farm's clock: milliseconds that a coordinator has run, ever. Moments of it (…_clock) instead of what was left of a
-- delay, which many restarts could postpone for ever; the clock itself is the setting "clock", and begins here.
ALTER TABLE track RENAME COLUMN wait_left TO wait_clock; -- its wait for ancestors ends; -1: it waits for none
ALTER TABLE slot RENAME COLUMN stale_left TO stale_clock; -- its last good child is stale; 0: it is; -1: it is up to date
ALTER TABLE job RENAME COLUMN retry_left TO retry_clock; -- it may be tried again; 0: it need not wait
ALTER TABLE job ADD COLUMN queued_clock INTEGER NOT NULL DEFAULT 0; -- it was queued; 0: not known
ALTER TABLE attempt ADD COLUMN granted_clock INTEGER NOT NULL DEFAULT 0; -- 0: not known
