import type { PublicService } from "../service.ts";
import { createHealth, type HealthParts } from "./health/health.ts";
import { createReflection } from "./reflection/reflection.ts";

/** Which of gRPC's own services a gateway has, and what they work with. */
export interface StandardParts extends HealthParts {
  /** Whether callers may ask what the API looks like. */
  readonly reflection: boolean;
}

/** The services of gRPC itself that a gateway has beside those of its API: health and, if it is on, server reflection. */
export function createStandardServices({ reflection, ...parts }: StandardParts): readonly PublicService[] {
  const health = createHealth(parts);
  return reflection ? [health, ...createReflection([...parts.services, health])] : [health];
}
