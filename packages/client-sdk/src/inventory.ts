export * from "./gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
