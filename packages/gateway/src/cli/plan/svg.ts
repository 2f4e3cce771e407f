import { visible } from "../matrix/words.ts";
import type { MethodPlan, PlannedStep } from "./method.ts";
import { linesOf, type Plan, summaryOf } from "./words.ts";

// Sizes are in pixels; the type is monospaced, so that a text is as wide as it is long.
const letter = 7.3;
const line = 17;
const gap = { x: 56, y: 12 };
const margin = 24;
const headHeight = 48;

/** The plans as a picture: a box for each step, in columns by level, with lines to what it waits for. */
export function planSvg({ methods }: Plan): string {
  const drawings = methods.map(draw);
  const width = Math.ceil(Math.max(0, ...drawings.map(({ width }) => width)) + 2 * margin);
  let y = margin;
  const placed = drawings.map(({ height, content }) => {
    const group = `<g transform="translate(${margin} ${y})">\n${content}\n</g>`;
    y += height + margin;
    return group;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" role="img">
<title>The calls to internal services that each method makes</title>
<style>${style}</style>
<rect class="back" width="${width}" height="${y}"/>
${placed.join("\n")}
</svg>
`;
}

const style = `
svg { --text: #1c2024; --quiet: #5b636b; --back: #ffffff; --box: #eef1f4; --line: #8b949d; }
@media (prefers-color-scheme: dark) {
  svg { --text: #e6e9ec; --quiet: #a3abb3; --back: #15181b; --box: #22272c; --line: #6b747d; }
}
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; fill: var(--text); }
.name { font-weight: 600; }
.quiet { fill: var(--quiet); }
.back { fill: var(--back); }
.box { fill: var(--box); stroke: var(--line); }
.after { fill: none; stroke: var(--line); stroke-width: 1.5; }
`;

interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly content: string;
}

interface Box {
  readonly step: PlannedStep;
  readonly lines: readonly string[];
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function draw(plan: MethodPlan): Drawing {
  const boxes = layOut(plan.steps);
  const byName = new Map(boxes.map((box) => [box.step.name, box]));
  const arrows = boxes.flatMap((box) => box.step.after.flatMap((name) => connect(byName.get(name), box)));
  const title = [plan.method, summaryOf(plan)];
  return {
    width: Math.max(...title.map(widthOf), ...boxes.map(({ x, width }) => x + width)),
    height: Math.max(headHeight - line, ...boxes.map(({ y, height }) => y + height)),
    content: [
      text(plan.method, 0, line, "name"),
      text(summaryOf(plan), 0, 2 * line, "quiet"),
      ...arrows,
      ...boxes.map(drawBox),
    ].join("\n"),
  };
}

/** A column for each level, one box under the other. */
function layOut(steps: readonly PlannedStep[]): Box[] {
  let x = 0;
  const levels = Map.groupBy(steps, ({ level }) => level);
  return [...levels.values()].flatMap((column) => {
    const lines = column.map(linesOf);
    const width = Math.max(...lines.flat().map(widthOf)) + 2 * gap.y;
    let y = headHeight;
    const boxes = column.map((step, index) => {
      const own = lines[index] ?? [];
      const box = { step, lines: own, x, y, width, height: own.length * line + gap.y };
      y += box.height + gap.y;
      return box;
    });
    x += width + gap.x;
    return boxes;
  });
}

function drawBox({ lines, x, y, width, height }: Box): string {
  const texts = lines.map((words, index) =>
    text(words, x + gap.y, y + (index + 1) * line, index === 0 ? "name" : "quiet"),
  );
  return [`<rect class="box" x="${x}" y="${y}" width="${width}" height="${height}" rx="5"/>`, ...texts].join(
    "\n",
  );
}

/** A line from the right side of one box to the left side of another. */
function connect(from: Box | undefined, to: Box): string[] {
  if (from === undefined) return [];
  const [x1, y1, x2, y2] = [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const bend = (x2 - x1) / 2;
  return [`<path class="after" d="M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}"/>`];
}

function text(words: string, x: number, y: number, kind: string): string {
  return `<text class="${kind}" x="${x}" y="${y}">${escaped(words)}</text>`;
}

function widthOf(words: string): number {
  return Math.ceil(visible(words).length * letter);
}

function escaped(words: string): string {
  return visible(words).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
