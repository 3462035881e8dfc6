-- Which messages were read from their provider's own list because no delivery came, and counts.

-- Its bytes are not those of a delivery, which may yet come.
ALTER TABLE events ADD COLUMN listed INTEGER NOT NULL DEFAULT 0 CHECK (listed IN (0,1));

-- What has ended is counted where it ends, and what goes on has an index: a question to a file with
-- millions of finished instances reads none of those.

-- All that goes on, and what ended otherwise than most.
CREATE INDEX instances_by_state ON instances(state, seq) WHERE state <> 'completed';

CREATE TABLE ended_instances (
    workflow TEXT NOT NULL,
    version  INTEGER NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('completed','failed','cancelled')),
    count    INTEGER NOT NULL CHECK (count >= 0),
    entries  INTEGER NOT NULL CHECK (entries >= 0),  -- in their logs
    PRIMARY KEY (workflow, version, state)
) STRICT, WITHOUT ROWID;
INSERT INTO ended_instances SELECT workflow, version, state, count(*), sum(log_length) FROM instances
    WHERE finished_at_ms IS NOT NULL GROUP BY workflow, version, state;
CREATE TRIGGER instances_that_end_are_counted AFTER UPDATE OF finished_at_ms ON instances
WHEN OLD.finished_at_ms IS NULL AND NEW.finished_at_ms IS NOT NULL
BEGIN
    INSERT INTO ended_instances VALUES (NEW.workflow, NEW.version, NEW.state, 1, NEW.log_length)
        ON CONFLICT DO UPDATE SET count = count + 1, entries = entries + excluded.entries;
END;
CREATE TRIGGER ended_instances_that_come_are_counted AFTER INSERT ON instances
WHEN NEW.finished_at_ms IS NOT NULL
BEGIN
    INSERT INTO ended_instances VALUES (NEW.workflow, NEW.version, NEW.state, 1, NEW.log_length)
        ON CONFLICT DO UPDATE SET count = count + 1, entries = entries + excluded.entries;
END;
CREATE TRIGGER ended_instances_that_go_are_counted AFTER DELETE ON instances
WHEN OLD.finished_at_ms IS NOT NULL
BEGIN
    UPDATE ended_instances SET count = count - 1, entries = entries - OLD.log_length
        WHERE workflow = OLD.workflow AND version = OLD.version AND state = OLD.state;
END;

CREATE TABLE received_events (
    disposition TEXT PRIMARY KEY CHECK (disposition IN ('routed','ignored','quarantined')),
    count       INTEGER NOT NULL CHECK (count >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO received_events SELECT disposition, count(*) FROM events GROUP BY disposition;
CREATE TRIGGER events_that_come_are_counted AFTER INSERT ON events
BEGIN
    INSERT INTO received_events VALUES (NEW.disposition, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER events_that_go_are_counted AFTER DELETE ON events
BEGIN
    UPDATE received_events SET count = count - 1 WHERE disposition = OLD.disposition;
END;
