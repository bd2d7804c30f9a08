/** The stock of one SKU by location, from the ledger: what can be sold, what is held, and the safety stock. */
import { Loaded } from "../desk/panel.js";
import { useResource } from "../desk/use-resource.js";
import { usePage } from "../page-context.js";
import type { LedgerAnswer } from "./alert-details.js";

const EVERY_MS = 10_000;

export function Balances({ sku }: { sku: string }) {
  const { text, format } = usePage();
  const ledger = useResource<LedgerAnswer>(`/v1/ledger/${encodeURIComponent(sku)}`, EVERY_MS);
  return (
    <section class="phone-card">
      <h2>{text("balances")}</h2>
      <Loaded resource={ledger}>
        {({ locations }) => (
          <table class="balances">
            <thead>
              <tr>
                <th scope="col">{text("location")}</th>
                <th scope="col">{text("sellable")}</th>
                <th scope="col">{text("reserved")}</th>
                <th scope="col">{text("committed")}</th>
                <th scope="col">{text("safety")}</th>
              </tr>
            </thead>
            <tbody>
              {locations.map(({ location, sellable, reserved, committed, safety }) => (
                <tr key={location}>
                  <th scope="row">{location}</th>
                  <td data-tone={sellable === 0 ? "alarm" : undefined}>{format.units(sellable)}</td>
                  <td>{format.units(reserved)}</td>
                  <td>{format.units(committed)}</td>
                  <td>{format.units(safety)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Loaded>
    </section>
  );
}
