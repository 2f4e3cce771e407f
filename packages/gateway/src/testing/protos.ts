// The domains of the unit tests, which are not the demo's.

export * as pubCatalog from "../../../../tests/gen/acme/api/catalog/v1/catalog_service_pb.ts";
export * as pubLegacy from "../../../../tests/gen/acme/api/legacy/v1/ledger_service_pb.ts";
export * as pub from "../../../../tests/gen/acme/api/warehouse/v1/warehouse_service_pb.ts";
export * as catalog from "../../../../tests/gen/acme/internal/catalog/v1/catalog_service_pb.ts";
export * as legacy from "../../../../tests/gen/acme/internal/legacy/v1/ledger_service_pb.ts";
export * as internal from "../../../../tests/gen/acme/internal/warehouse/v1/warehouse_service_pb.ts";
