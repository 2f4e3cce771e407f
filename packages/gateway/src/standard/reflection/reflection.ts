import type { Call } from "../../call.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { ServerReflection as V1 } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as V1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { PartialResultSchema } from "../../gen/portico/api/v1/partial_result_pb.ts";
import { type PublicService, standardService } from "../../service.ts";
import { createConversation, type Question, type Reply } from "./conversation.ts";
import { createSlices } from "./slice.ts";

/** What is sent beside answers and with errors. */
const besides = [
  StatusSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  BadRequestSchema,
  RetryInfoSchema,
  PartialResultSchema,
];

/** An open stream holds little, but none is needed for longer. */
const timeout = { seconds: 300n };

/** The longest names of symbols are far shorter. */
const maxRequestBytes = 4_096;

/**
 * gRPC's server reflection, in its versions v1 and v1alpha: with it, grpcurl, `buf curl` and Postman need no protos.
 *
 * A caller is told of what its audience may see: services and methods that are made for others are not there, nor are types
 * that only they need; options that are not protobuf's own, such as policies, are there for nobody. Fields that need a
 * permission to be read are there: that they exist is no secret, as the SDK has them too.
 *
 * @param services all others that the gateway serves
 * @example
 * const methods = createMethodTable([...services, ...createReflection(services)]);
 */
export function createReflection(services: readonly PublicService[]): readonly PublicService[] {
  const policy = { access: { case: "anonymous", value: true }, maxRequestBytes, timeout } as const;
  const converse = <R extends { readonly host: string; readonly messageRequest: Question }>(
    requests: AsyncIterable<R>,
    call: Call,
  ) => answers(requests, createConversation(slices[call.rights.audience]));
  const made = [
    standardService(V1, { serverReflectionInfo: converse }, policy),
    standardService(V1Alpha, { serverReflectionInfo: converse }, policy),
  ];
  const slices = createSlices([...services, ...made], besides);
  return made;
}

async function* answers<R extends { readonly host: string; readonly messageRequest: Question }>(
  requests: AsyncIterable<R>,
  answer: (question: Question) => Reply,
) {
  for await (const request of requests)
    yield {
      validHost: request.host,
      originalRequest: request,
      messageResponse: answer(request.messageRequest),
    };
}
