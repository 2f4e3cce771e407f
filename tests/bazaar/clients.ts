import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { Bazaar } from "./system.ts";

/** A client over gRPC with credentials. */
export async function grpcClient<S extends DescService>(
  bazaar: Bazaar,
  service: S,
  role?: "keeper" | "visitor",
): Promise<Client<S>> {
  const headers = await bazaar.headers(role);
  return createClient(
    service,
    createGrpcTransport({
      baseUrl: bazaar.url,
      interceptors: [
        (next) => (request) => {
          for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
          return next(request);
        },
      ],
    }),
  );
}
