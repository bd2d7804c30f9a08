-- Reserves a batch of lines in one statement and one transaction. A line that is known is left alone; the units of
-- the new ones are summed up by SKU, so that each stock row changes once; the check on `sellable` refuses the batch
-- when one of them has too little. $1 ids, $2 SKUs, $3 units: comma-separated. Returns how many lines are new.
WITH asked AS (
  SELECT * FROM unnest(string_to_array($1, ','), string_to_array($2, ','), string_to_array($3, ',')::bigint[]) AS line (id, sku, units)
), fresh AS (
  INSERT INTO lines (id, sku, units, expires_at)
  SELECT id, sku, units, now() + interval '30 minutes' FROM asked
  ON CONFLICT (id) DO NOTHING
  RETURNING sku, units
), moved AS (
  UPDATE stock
  SET sellable = stock.sellable - wanted.units, reserved = stock.reserved + wanted.units
  FROM (SELECT sku, sum(units)::bigint AS units FROM fresh GROUP BY sku) AS wanted
  WHERE stock.sku = wanted.sku
)
SELECT count(*)::int AS reserved FROM fresh
