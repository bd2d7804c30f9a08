/**
 * Days by which Alibaba Cloud and Tencent Cloud count what an account may purge: days of China's time, UTC+8, which has
 * had no summer time since 1991. That the quota begins anew at midnight of this zone is not confirmed by either vendor;
 * a quota that begins anew later only means that more requests are refused. Pure.
 */
import { DAY_MS, HOUR_MS } from "../../engine/kernel/clock.js";

const OFFSET_MS = 8 * HOUR_MS;

/** The number of the day since the epoch. */
export const chinaDayOf = (ms: number): number => Math.floor((ms + OFFSET_MS) / DAY_MS);

/** Milliseconds until the next day begins; 1 at least. */
export const untilNextChinaDayMs = (ms: number): number => (chinaDayOf(ms) + 1) * DAY_MS - OFFSET_MS - ms;
