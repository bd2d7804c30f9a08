-- The shop's tables as one would lay them out for speed: a line is id memory, hold and log entry in one row, with one
-- index; of a stock row's page half stays free, so that a changed row finds room beside its old self and no index has
-- to change.
CREATE TABLE stock (
  sku text PRIMARY KEY,
  sellable bigint NOT NULL CHECK (sellable >= 0),
  reserved bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE lines (
  id text PRIMARY KEY,
  sku text NOT NULL,
  units bigint NOT NULL,
  expires_at timestamptz NOT NULL
);
