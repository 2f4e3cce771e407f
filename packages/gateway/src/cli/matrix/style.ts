/** The look of the matrix for people: on wide and narrow screens, light and dark, and on paper. */
export const style = `
:root {
  color-scheme: light dark;
  --text: #1c2024; --quiet: #5b636b; --back: #ffffff; --line: #d6dade; --head: #eef1f4; --group: #f6f8fa;
  --yes: #d9f2e0; --yes-text: #0b5d2a; --if: #fdf0c8; --if-text: #6b4a00; --no: #ffffff; --no-text: #5b636b;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --text: #e6e9ec; --quiet: #a3abb3; --back: #15181b; --line: #363c42; --head: #22272c; --group: #1b1f23;
    --yes: #12391f; --yes-text: #8fe3ab; --if: #453610; --if-text: #f4d782; --no: #15181b; --no-text: #a3abb3;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 100rem; padding: 1.5rem; background: var(--back); color: var(--text);
  font: 1rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0 .8rem; max-width: 48rem; }
ul { list-style: none; margin: 0; padding: 0; }
code { font: .85em ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
  overflow-wrap: anywhere; }
.legend { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .4rem 1.5rem; }
.legend li { display: flex; gap: .6rem; align-items: baseline; }
.legend .verdict { flex: none; min-width: 5.6rem; padding: .1rem .5rem; border-radius: .3rem; text-align: center; }
.wide { overflow: auto; max-height: 90vh; border: 1px solid var(--line); border-radius: .4rem; }
.wide:focus-visible { outline: 3px solid #4a90d9; }
table { border-collapse: separate; border-spacing: 0; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .5rem .7rem; text-align: left; vertical-align: top; }
tbody:last-child tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; z-index: 2; background: var(--head); vertical-align: bottom; }
thead th:first-child { left: 0; z-index: 3; }
.group th { background: var(--group); padding-top: .9rem; }
.group span { position: sticky; left: .7rem; }
tbody th[scope="row"] { position: sticky; left: 0; z-index: 1; background: var(--back); font-weight: 400;
  min-width: 20rem; max-width: 34rem; border-right: 1px solid var(--line); }
.name { font-weight: 600; }
.quiet, .notes { color: var(--quiet); font-weight: 400; font-size: .85em; }
.notes li { margin-top: .15rem; }
.subject { width: 7.5rem; min-width: 6.5rem; text-align: center; overflow-wrap: break-word; }
.subject .quiet { display: block; }
.verdict { text-align: center; white-space: nowrap; }
.yes { background: var(--yes); color: var(--yes-text); font-weight: 600; }
.if { background: var(--if); color: var(--if-text); font-weight: 600; }
.no, .absent { background: var(--no); color: var(--no-text); }
.legend .no, .legend .absent { border: 1px solid var(--line); }
@media screen and (max-width: 44rem) {
  body { padding: 1rem; }
  .wide { overflow: visible; max-height: none; border: 0; }
  table, tbody, tr, th, td { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { border: 1px solid var(--line); border-radius: .4rem; margin-bottom: .8rem; overflow: hidden; }
  tr.group { border: 0; margin-bottom: .4rem; }
  .group th { background: none; padding: .8rem 0 0; border: 0; }
  tbody th[scope="row"] { position: static; min-width: 0; max-width: none; border-right: 0; }
  td.verdict { display: flex; justify-content: space-between; gap: 1rem; text-align: left; padding: .35rem .7rem; }
  td.verdict::before { content: attr(data-subject); color: var(--text); font-weight: 400; white-space: normal;
    overflow-wrap: anywhere; }
  tr > :last-child { border-bottom: 0; }
}
@media print {
  @page { size: landscape; margin: 12mm; }
  :root { color-scheme: light; }
  body { padding: 0; max-width: none; font-size: 9pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .wide { overflow: visible; max-height: none; border: 0; }
  thead th, tbody th[scope="row"], .group span { position: static; }
  tbody th[scope="row"] { min-width: 0; }
  .subject { min-width: 0; }
  tr { break-inside: avoid; }
  .group { break-after: avoid; }
}
`;
