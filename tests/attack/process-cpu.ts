import { readFileSync } from "node:fs";

/** Milliseconds of one tick of the clock that Linux counts CPU time by: USER_HZ is 100 for every program. */
const tickMs = 10;

/** The CPU time that a process has taken, in milliseconds, in steps of ten, without asking the process. Needs /proc. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // After the name, which may have spaces and parentheses in it; utime and stime are the 14th and 15th field.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * tickMs;
}
