import { isIPv4, isIPv6 } from "node:net";

/**
 * The key of callers that are known by nothing but their address. Those of one IPv6 network of 64 bits are one caller, as
 * anyone has as many addresses there as they like. An IPv4 address within IPv6 is that IPv4 address. What is no address
 * shares one key.
 *
 * @example addressKey("2001:db8::1"); // "address:2001:db8:0:0::/64"
 */
export function addressKey(ip: string): string {
  if (isIPv4(ip)) return `address:${ip}`;
  const [address = ""] = ip.split("%");
  if (!isIPv6(address)) return "address:unknown";
  const groups = groupsOf(address);
  const [high = 0, low = 0] = groups.slice(6);
  if (groups.slice(0, 6).join() === "0,0,0,0,0,65535")
    return `address:${[high >> 8, high & 255, low >> 8, low & 255].join(".")}`;
  return `address:${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}

/** The eight numbers of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const [before, after] = [head, tail ?? ""].map((part) => (part === "" ? [] : part.split(":")));
  const gap = 8 - (before?.length ?? 0) - (after?.length ?? 0);
  return [...(before ?? []), ...Array<string>(gap).fill("0"), ...(after ?? [])].map((group) =>
    Number.parseInt(group, 16),
  );
}
