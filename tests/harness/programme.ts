/** One row of the programme: what must hold. */
export interface Row {
  readonly id: string;
  readonly test: string;
  readonly expected: string;
}

/** A part of the programme. */
export interface Part {
  readonly title: string;
  readonly rows: readonly Row[];
}

/** All that the programme consists of, in the order of its report. */
export const programme: readonly Part[] = [
  part("A. Conformance", [
    [
      "A1",
      "the Connect conformance runner, server mode, against the gateway's own edge",
      "every case passes; the known-failing list is empty",
    ],
    ["A2", "the same in client mode, against the upstream session", "every case of gRPC over HTTP/2 passes"],
    ["A3", "gRPC interop with @grpc/grpc-js as client and as upstream", "every case passes"],
    [
      "A4",
      "one call through 3 protocols x 2 codecs x POST/GET x HTTP/1.1 and HTTP/2",
      "same result, code, authorization",
    ],
    ["A5", "60 malformed inputs", "a 4xx code; never 500, never an empty 200"],
  ]),
  part("B. Faults, under steady load with 1 s deadlines", [
    [
      "B1",
      "upstream SIGKILLed and restarted x 20",
      "in flight: unavailable within 50 ms; all succeed <= 1 s after the restart; no crash",
    ],
    ["B2", "GOAWAY every 50 ms x 2,400, idle and busy", "no client fails where a retry is safe; no crash"],
    ["B3", "a half-open connection", "recovery <= 13 s with default pings"],
    [
      "B4",
      "an upstream that accepts and stays silent, or stalls after headers",
      "ends at the deadline +-50 ms; p99 of other upstreams +<= 10 %",
    ],
    [
      "B5",
      "20 kinds of garbage from an upstream",
      "unavailable or internal, generic text; redirects never followed",
    ],
    [
      "B6",
      "an upstream failing 100 % for 60 s",
      "upstream calls <= 1.1 x client calls; non-idempotent ones sent once",
    ],
    ["B7", "Redis down, hung, slow", "<= 20 ms added; local limits take over; recovery <= 5 s"],
    [
      "B8",
      "JWKS down, rotated, slow, malformed; 10,000 tokens with random kid",
      "known keys keep working; <= 2 fetches a minute; rotation <= 30 s",
    ],
    ["B9", "clock skew of +-30 s and +-5 min", "accepted; refused"],
    [
      "B10",
      "SIGTERM under load, 20 rolling restarts",
      "HTTP/1.1: 0 of >= 50,000 failed; HTTP/2: 0 with a retry of refused streams; exit <= 15 s",
    ],
    [
      "B11",
      "client disconnects at random points x 10,000",
      "upstream aborted <= 100 ms; in flight returns to 0",
    ],
    ["B12", "a handler that ignores its signal", "an answer at the deadline +-50 ms"],
    ["B13", "a join with 1 of 3 upstreams dead", "what the policy declares, nothing else"],
  ]),
  part("C. Load", [
    [
      "C1",
      "open loop at 2, 4, 8, 10 times capacity",
      "goodput >= 80 % of peak; admitted p99 <= 3 x unloaded; rejections p99 <= 20 ms; loop lag p99 <= 100 ms",
    ],
    ["C2", "back to 0.8 x", ">= 99 % success <= 5 s"],
    ["C3", "one tenant at 10 x", "others >= 95 %"],
    ["C4", "most connections x streams x message", "RSS <= 512 MB"],
    ["C5", "upstream slow (5 s) under 4 x", "in flight per upstream <= its limit"],
    [
      "C6",
      "1,000 slow readers and senders, HTTP/1.1 and HTTP/2",
      "closed <= 35 s; p99 of healthy callers +<= 20 %",
    ],
    [
      "C7",
      "500,000 mixed calls, 30 % aborted, 10 % malformed, then idle",
      "heap +<= 2 MB; descriptors, timers, sessions at baseline",
    ],
  ]),
  part("D. Attack", [
    ["D1", "fuzz with 100,000 inputs, seed printed", "no crash, hang, or invalid 2xx; stall <= 100 ms"],
    [
      "D2",
      "HTTP/2 floods of 20,000 frames: reset, MadeYouReset, CONTINUATION, PING, SETTINGS, empty DATA, WINDOW_UPDATE",
      "connection closed; others >= 99 %",
    ],
    ["D3", "40,000 one-byte chunks x 3 protocols, authenticated", "CPU <= 300 ms"],
    ["D4", "oversize, gzip bombs, lying lengths, accept-encoding: br", "refused; RSS +<= 50 MB"],
    [
      "D5",
      "every method x role x forged credentials x protocol x GET/POST",
      "100 % as the policy says; no upstream call on a refusal",
    ],
    [
      "D6",
      "a method without policy; a service that brings its own gate or interceptors",
      "the gateway does not start",
    ],
    [
      "D7",
      "100 callers, equal requests, cache and coalescing on, 100,000 calls carrying canaries",
      "0 foreign canaries",
    ],
    ["D8", "a coalesced call whose first caller cancels or is refused", "others unaffected"],
    [
      "D9",
      "canaries in tokens, upstream errors, details, metadata, host names",
      "none in responses, logs, metrics, traces",
    ],
    ["D10", "smuggling, Host, duplicate and > 100 headers, encoded paths", "400, or the same policy"],
    [
      "D11",
      "header spoofing: x-user-*, x-forwarded-*, grpc-*, long traceparent",
      "upstreams see only allow-listed and gateway-set headers",
    ],
    [
      "D12",
      "CORS (null, suffix, port, case), simple-request CSRF",
      "exact origins only; no mutation without preflight",
    ],
    ["D13", "every validation and CEL pattern on 64 KiB", "<= 10 ms"],
  ]),
];

function part(title: string, rows: readonly (readonly [string, string, string])[]): Part {
  return { title, rows: rows.map(([id, test, expected]) => ({ id, test, expected })) };
}
