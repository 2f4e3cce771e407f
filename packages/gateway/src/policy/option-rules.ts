import { createValidator } from "@bufbuild/protovalidate";
import { type MethodPolicy, MethodPolicySchema } from "../gen/portico/v1/policy_pb.ts";

const validator = createValidator();

/**
 * What is wrong with the options of a method or a service, by the rules of validation that are written beside them in
 * `portico/v1/policy.proto`: `cache.ttl: value is required`.
 */
export function optionProblems(options: MethodPolicy): string[] {
  const result = validator.validate(MethodPolicySchema, options);
  if (result.kind === "error") throw result.error;
  return (result.violations ?? []).map(({ field, message }) => {
    const path = field.flatMap((step) => (step.kind === "field" || step.kind === "oneof" ? [step.name] : []));
    return `${path.join(".")}: ${message}`;
  });
}
