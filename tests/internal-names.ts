import type { DescFile } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { InventoryService as PublicInventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService as PublicOrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService as PublicUsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { InventoryService } from "../packages/gateway/src/gen/smpl/inventory/v1/inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/orders/v1/orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/users/v1/users_service_pb.ts";

const publicFiles = [PublicUsersService, PublicOrdersService, PublicInventoryService].map(({ file }) => file);
const internalFiles = [UsersService, OrdersService, InventoryService].map(({ file }) => file);

/** The packages of the internal services. */
export const internalPackages: readonly string[] = internalFiles.map(({ proto }) => proto.package);

/** The names of fields and enum values, as in protos and as in JSON, that are internal: no public proto has them. */
export const internalFields: readonly string[] = internalOnly(fieldsIn);

/** The names of messages, enums and methods that are internal. */
export const internalTypes: readonly string[] = internalOnly(typesIn);

/**
 * Which of these names stand in a text that people may read. A plain word such as `phone` counts only where a field
 * would stand: as a key of JSON, or at the start of a quoted message.
 */
export function namesIn(text: string, names: readonly string[]): string[] {
  return names.filter((name) =>
    isPlainWord(name) ? text.search(`"${name}"?\\s*:`) >= 0 : text.search(`\\b${name}\\b`) >= 0,
  );
}

function isPlainWord(name: string): boolean {
  return /^[A-Z]?[a-z]+$/.test(name);
}

function internalOnly(namesOf: (file: DescFile) => string[]): string[] {
  const known = new Set(publicFiles.flatMap(namesOf));
  return [...new Set(internalFiles.flatMap(namesOf))].filter((name) => !known.has(name));
}

function fieldsIn(file: DescFile): string[] {
  return [...nestedTypes(file)].flatMap((type) => {
    if (type.kind === "enum") return type.values.map(({ name }) => name);
    return type.kind === "message" ? type.fields.flatMap(({ name, jsonName }) => [name, jsonName]) : [];
  });
}

function typesIn(file: DescFile): string[] {
  return [...nestedTypes(file)].flatMap((type) =>
    type.kind === "service" ? type.methods.flatMap(({ name, localName }) => [name, localName]) : [type.name],
  );
}
