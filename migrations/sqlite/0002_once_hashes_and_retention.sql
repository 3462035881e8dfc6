-- What a once key remembers is covered by hashes, as the step log is: a damaged request must not be
-- sent, a damaged result not be adopted. They are keyed, so the program computes those of rows that are
-- there already, in the first transaction of the next owner; the row in meta tells it to.
ALTER TABLE once_keys ADD COLUMN request_hash BLOB;  -- of the payload
ALTER TABLE once_keys ADD COLUMN result_hash BLOB;   -- of the payload
ALTER TABLE once_keys ADD COLUMN hash BLOB;          -- of the row and the two before
INSERT INTO meta(name, value) VALUES ('once_keys_unsealed', 1);

-- The messages that an instance came from: retention takes their bodies, forgetting their names.
CREATE INDEX events_instance ON events(instance) WHERE instance IS NOT NULL;
-- Which messages are old enough for retention.
CREATE INDEX events_received ON events(received_at_ms);
