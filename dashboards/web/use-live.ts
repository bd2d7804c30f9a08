/**
 * The connection of a page as a hook: the newest state, rendered at most once a frame of the display. A change of what
 * is subscribed to keeps the connection, and the last model stays until the new snapshots come.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import type { FeedRequest } from "../protocol.js";
import { CONNECTING, type Copies, LiveConnection, type LiveState } from "./live-connection.js";

/**
 * @param makeCopies called once, when the connection opens
 * @param feeds the same object as long as the subscription is the same
 */
export function useLive<Model>(makeCopies: () => Copies<Model>, feeds: readonly FeedRequest[]): LiveState<Model> {
  const [state, setState] = useState<LiveState<Model>>(CONNECTING);
  const connection = useRef<LiveConnection<Model>>(undefined);
  useEffect(() => {
    let newest: LiveState<Model> = CONNECTING;
    let requested = 0;
    const show = () => {
      requested = 0;
      setState(newest);
    };
    const opened = new LiveConnection(makeCopies(), feeds, (changed) => {
      newest = changed;
      if (requested === 0) requested = requestAnimationFrame(show);
    });
    connection.current = opened;
    return () => {
      cancelAnimationFrame(requested);
      opened.close();
    };
  }, []);
  const subscribed = useRef(feeds);
  useEffect(() => {
    if (subscribed.current === feeds) return;
    subscribed.current = feeds;
    connection.current?.subscribe(feeds);
  }, [feeds]);
  return state;
}
