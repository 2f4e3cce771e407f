import { type Load, type LoadOptions, startLoad } from "./load.ts";
import { isLoadMessage, loadMessage } from "./load-process.ts";

// The program: makes calls as its parent tells it.

let load: Load | undefined;
process.on("disconnect", () => process.exit(0));
process.on("message", (message) => {
  if (!isLoadMessage(message)) return;
  const { ask, options } = message;
  if (ask === "count") process.send?.({ [loadMessage]: "count", count: load?.count() ?? 0 });
  if (ask === "stop") void load?.stop();
  if (ask === "start" && options !== undefined) start(options);
});
// The probe has let go of the channel, which alone keeps this process until it is told to start.
process.channel?.ref();
process.send?.({ [loadMessage]: "ready" });

function start(options: LoadOptions): void {
  load = startLoad(options);
  void load.done.then((result) => process.send?.({ [loadMessage]: "done", result }, () => process.exit(0)));
}
