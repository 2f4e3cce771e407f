export * from "./gen/smpl/api/orders/v1/api_orders_service_pb.ts";
