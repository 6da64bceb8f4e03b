-- Since when a board takes nothing (it is offline, draining, hot or low on disk), as a moment of the farm's clock; 0: it takes
-- work. One that has done so for a day is not waited for.
ALTER TABLE board ADD COLUMN away_clock INTEGER NOT NULL DEFAULT 0;
UPDATE board SET away_clock = coalesce((SELECT CAST(value AS INTEGER) FROM setting WHERE key = 'clock'), 1)
 WHERE state IN ('draining', 'offline', 'quarantined');
