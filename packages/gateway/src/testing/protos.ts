// The domains of the unit tests, which are not the demo's.

export * as pubCatalog from "../../../../tests/gen/acme/api/catalog/v1/catalog_service_pb.ts";
export * as gazette from "../../../../tests/gen/acme/api/gazette/v1/gazette_service_pb.ts";
export * as pubLegacy from "../../../../tests/gen/acme/api/legacy/v1/ledger_service_pb.ts";
export * as policy from "../../../../tests/gen/acme/api/policy/v1/policy_service_pb.ts";
export * as readmask from "../../../../tests/gen/acme/api/readmask/v1/readmask_service_pb.ts";
export * as rules from "../../../../tests/gen/acme/api/rules/v1/rules_service_pb.ts";
export * as vault from "../../../../tests/gen/acme/api/vault/v1/vault_service_pb.ts";
export * as vaultEdition from "../../../../tests/gen/acme/api/vaultedition/v1/vault_edition_service_pb.ts";
export * as vaultLegacy from "../../../../tests/gen/acme/api/vaultlegacy/v1/vault_legacy_service_pb.ts";
export * as pub from "../../../../tests/gen/acme/api/warehouse/v1/warehouse_service_pb.ts";
export * as catalog from "../../../../tests/gen/acme/internal/catalog/v1/catalog_service_pb.ts";
export * as legacy from "../../../../tests/gen/acme/internal/legacy/v1/ledger_service_pb.ts";
export * as internal from "../../../../tests/gen/acme/internal/warehouse/v1/warehouse_service_pb.ts";
