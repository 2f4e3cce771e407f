import { expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { summarize } from "../harness/load.ts";
import { startLoadProcess } from "../harness/load-process.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { codesInWords, ms, part, percent } from "./words.ts";
import { capacityOf, connections, joins, names } from "./work.ts";

const forMs = scaled(5_000, 1_000);

const limits = { off: {}, on: { RATE_LIMIT_AUTHENTICATED: "100/1s" } };

test.each(Object.entries(limits))(
  "C3 one caller takes far more than its share, with rate limits %s",
  async (state, env) => {
    await using upstreams = await startUpstreams({ users: 100, orders: 200, items: 0 });
    await using gateway = await startGateway(upstreams.urls);
    const { perSecond: capacity } = await capacityOf(
      gateway,
      await joins(gateway, names(16)),
      scaled(2_500, 500),
    );
    await using limited = await startGateway(upstreams.urls, env);
    // Warm too.
    await capacityOf(limited, await joins(limited, names(64, "warm")), scaled(1_000, 200));
    const quiet = await joins(limited, names(20, "quiet"));
    const greedy = await joins(limited, ["greedy"]);
    await using flood = await startLoadProcess({
      url: limited.url,
      requests: greedy,
      pace: { perSecond: 10 * capacity },
      lean: true,
      connections,
      forMs,
    });
    await using others = await startLoadProcess({
      url: limited.url,
      requests: quiet,
      pace: { perSecond: 0.3 * capacity },
      lean: true,
      connections,
      forMs,
    });
    const [its, theirs] = (await Promise.all([flood.done, others.done])).map((result) => summarize(result));
    if (its === undefined || theirs === undefined) throw new Error("a load had no result");
    const success = part(theirs.ok, theirs.count);
    figure({
      id: "C3",
      test: `one caller at 10 x capacity, 20 others at 0.3 x together; rate limits ${state}`,
      expected: "others >= 95 %",
      measured:
        `others ${percent(success)} of ${theirs.count}, p99 ${ms(theirs.p99)}; ` +
        `the one: ${codesInWords(its)} (capacity ${Math.round(capacity)}/s)`,
      reached: success >= 0.95,
    });
    for (const { codes } of [its, theirs])
      expect(["ok", "unavailable", "resource_exhausted"]).toEqual(expect.arrayContaining(Object.keys(codes)));
  },
);
