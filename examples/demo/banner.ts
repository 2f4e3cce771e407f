import { styleText } from "node:util";

const roles = { admin: "ada", support: "grace", viewer: "linus" } as const;

/** Prints what is running, tokens, and lines to paste. */
export async function printBanner(
  { url = "", adminUrl = "" }: Readonly<Record<string, string>>,
  internal: Readonly<Record<string, string>>,
  startedMs: number,
): Promise<void> {
  const tokens = await Promise.all(
    Object.entries(roles).map(async ([role, sub]) => {
      const answer = await fetch(`${url}/demo/token?sub=${sub}&role=${role}`);
      return `${role.toUpperCase()}=${styleText("dim", await answer.text())}`;
    }),
  );
  const part = (title: string, ...lines: string[]) => `${styleText("bold", title)}\n${lines.join("\n")}\n`;
  process.stdout.write(
    [
      "",
      part(
        `Portico is up after ${Math.round(startedMs)} ms.`,
        `  ${styleText("green", url)}   gRPC, gRPC-Web, Connect and JSON on one port`,
        `  ${styleText("dim", `${adminUrl}/readyz`)}   what it is connected to`,
        ...Object.entries(internal).map(([name, at]) =>
          styleText("dim", `  ${at}   ${name}, an internal gRPC service`),
        ),
      ),
      part("Three tokens for an hour. Paste these lines into another terminal, in this folder:", ...tokens),
      ...lines(url).map(([title, text]) => part(title, text)),
      styleText(
        "dim",
        "Every request is logged below, with the internal calls it caused. Ctrl-C stops everything.",
      ),
      "",
      "",
    ].join("\n"),
  );
}

/** What to paste, each with a word on what it shows. */
function lines(url: string): [title: string, text: string][] {
  const list = `${url}/smpl.api.orders.v1.OrdersService/ListOrdersWithUser`;
  return [
    [
      "JSON with curl: orders, joined with their users",
      `curl -s -H "authorization: Bearer $ADMIN" -H 'content-type: application/json' -d '{"pageSize": 2}' ${list}`,
    ],
    [
      "A plain GET, for reading methods",
      `curl -s -H "authorization: Bearer $ADMIN" '${list}?encoding=json&message=%7B%22pageSize%22%3A2%7D'`,
    ],
    [
      "gRPC",
      `npx -y pnpm@12 exec buf curl --schema . --protocol grpc --http2-prior-knowledge -H "authorization: Bearer $ADMIN" -d '{"pageSize": 2}' ${list}`,
    ],
    [
      "gRPC-Web",
      `npx -y pnpm@12 exec buf curl --schema . --protocol grpcweb -H "authorization: Bearer $ADMIN" -d '{"pageSize": 2}' ${list}`,
    ],
    [
      "The SDK",
      `npx -y pnpm@12 exec node --input-type=module -e '
import { Portico } from "@portico/client-sdk";
const api = new Portico({ baseUrl: "${url}", token: process.argv[1] });
const { orders } = await api.orders.listOrdersWithUser({ pageSize: 2 });
for (const order of orders) console.log(order.id, order.userEmail, order.product);
' "$ADMIN"`,
    ],
    [
      "What a viewer may not do",
      `curl -s -H "authorization: Bearer $VIEWER" -H 'content-type: application/json' -d '{"email": "new@example.com"}' ${url}/smpl.api.users.v1.UsersService/CreateUser`,
    ],
  ];
}
