/**
 * CPU time of a process as the kernel counts it: what a rate really cost, whatever else ran on the machine meanwhile.
 * Linux only; elsewhere there is no figure.
 */
import { readFileSync } from "node:fs";

/** USER_HZ: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const USER_FIELD = 11;

/** Seconds of CPU (user and system, all threads) that a process has used; undefined when it cannot be read. */
export function cpuSecondsOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The program's name may hold anything; the fields are counted from behind its last bracket.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[USER_FIELD]) + Number(fields[USER_FIELD + 1])) / TICKS_PER_SECOND;
  } catch {
    return undefined;
  }
}
