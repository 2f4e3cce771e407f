/** A metric as a scrape has it. */
export interface ScrapedMetric {
  readonly type: string;
  readonly help: string;
  /** By the names that queries use, which of a histogram have `_bucket`, `_sum` and `_count`. */
  readonly samples: readonly Sample[];
}

/** One value. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads the text format of Prometheus, by the name of the metric. Throws an error that names what is wrong. */
export function parseMetrics(text: string): ReadonlyMap<string, ScrapedMetric> {
  const metrics = new Map<string, { type: string; help: string; samples: Sample[] }>();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment !== null) {
      const [, kind, name = "", rest = ""] = comment;
      const metric = metrics.get(name) ?? { type: "", help: "", samples: [] };
      metrics.set(name, metric);
      const key = kind === "HELP" ? "help" : "type";
      if (metric[key] !== "") throw new Error(`${name} has two lines of ${kind}`);
      metric[key] = rest;
      continue;
    }
    const sample = parseSample(line);
    const metric = metrics.get(sample.name) ?? metrics.get(sample.name.replace(/_(bucket|sum|count)$/, ""));
    if (metric === undefined) throw new Error(`${sample.name} stands before its HELP and TYPE`);
    metric.samples.push(sample);
  }
  return metrics;
}

/** The value of a metric whose sample has these labels; `undefined` if there is none. */
export function valueIn(
  metrics: ReadonlyMap<string, ScrapedMetric>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const metric = metrics.get(name) ?? metrics.get(name.replace(/_(bucket|sum|count)$/, ""));
  return metric?.samples.find(
    (sample) =>
      sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  )?.value;
}

function parseSample(line: string): Sample {
  const match = /^([a-zA-Z_][a-zA-Z0-9_]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  const [, name = "", inner = "", value = ""] = match ?? [];
  if (match === null) throw new Error(`no sample: ${line}`);
  const labels: Record<string, string> = {};
  const rest = inner.replace(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)",?/g, (_, label, text) => {
    labels[label] = text.replace(/\\(.)/g, (_: string, char: string) => (char === "n" ? "\n" : char));
    return "";
  });
  if (rest !== "") throw new Error(`no labels: ${inner}`);
  const number = value === "+Inf" ? Number.POSITIVE_INFINITY : Number(value);
  if (Number.isNaN(number)) throw new Error(`no number: ${line}`);
  return { name, labels, value: number };
}
