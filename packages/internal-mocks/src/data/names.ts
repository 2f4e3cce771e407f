/** A person's name and what it becomes in an email. */
interface Person {
  displayName: string;
  emailName: string;
}

/** The name of the person at an index. Names repeat after about a thousand; emails are told apart by a number. */
export function personAt(index: number): Person {
  const foreign = index % 40 === 39 ? otherScripts[Math.floor(index / 40) % otherScripts.length] : undefined;
  if (foreign !== undefined) return { displayName: foreign[0], emailName: foreign[1] };
  const round = Math.floor(index / first.length);
  const displayName = `${first[index % first.length]} ${last[(index + round) % last.length]}`;
  return { displayName, emailName: toAscii(displayName) };
}

function toAscii(name: string): string {
  return name.normalize("NFD").replace(/\p{M}/gu, "").replace(/[ ']/g, ".").toLowerCase();
}

const first: readonly string[] =
  `Ada Alan Grace Edsger Barbara Donald Zoë Kurt Margaret Leslie Radia Tony Frances Niklaus Émilie Dennis
  Karen Ken Adele Claude Hedy Linus Márta René Sophie John Annie André Katherine Pál Mary Jürgen`.split(
    /\s+/,
  );

const last: readonly string[] =
  `Lovelace Turing Hopper Dijkstra Liskov Knuth Žižek Gödel Hamilton Lamport Perlman Hoare Allen Wirth Châtelet
  Ritchie Jones Thompson Goldberg Shannon Lamarr Pauling Erdős Descartes Germain O'Neill Easley Ampère Johnson
  Halmos Cartwright Müller`.split(/\s+/);

const otherScripts: readonly (readonly [string, string])[] = [
  ["王小云", "wang.xiaoyun"],
  ["Софья Ковалевская", "sofya.kovalevskaya"],
  ["محمد الخوارزمي", "muhammad.alkhwarizmi"],
  ["岩澤健吉", "iwasawa.kenkichi"],
  ["Κωνσταντίνος Καραθεοδωρή", "konstantinos.karatheodori"],
  ["김민지", "kim.minji"],
];
