// The domain of the bazaar, inside and out: every package by a name of its own.

export * as pubCharms from "../gen/acme/api/bazaar/charms/v1/charms_service_pb.ts";
export * as pubCurios from "../gen/acme/api/bazaar/curios/v1/curios_service_pb.ts";
export * as pubRelics from "../gen/acme/api/bazaar/relics/v1/relics_service_pb.ts";
export * as pub from "../gen/acme/api/bazaar/v1/bazaar_service_pb.ts";
export * as charms from "../gen/acme/internal/bazaar/charms/v1/charms_service_pb.ts";
export * as companies from "../gen/acme/internal/bazaar/companies/v1/companies_service_pb.ts";
export * as curios from "../gen/acme/internal/bazaar/curios/v1/curios_service_pb.ts";
export * as notes from "../gen/acme/internal/bazaar/notes/v1/notes_service_pb.ts";
export * as places from "../gen/acme/internal/bazaar/places/v1/places_service_pb.ts";
export * as purchases from "../gen/acme/internal/bazaar/purchases/v1/purchases_service_pb.ts";
export * as relics from "../gen/acme/internal/bazaar/relics/v1/relics_service_pb.ts";
export * as shoppers from "../gen/acme/internal/bazaar/shoppers/v1/shoppers_service_pb.ts";
