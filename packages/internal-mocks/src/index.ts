// What tests and the demo import.
export type { CallRecord, CallRecorder, MethodName, Outcome } from "./calls.ts";
export type { Fault } from "./faults.ts";
// To make clients for the mocks with.
export { InventoryService } from "./gen/smpl/inventory/v1/inventory_service_pb.ts";
export { OrdersService } from "./gen/smpl/orders/v1/orders_service_pb.ts";
export { UsersService } from "./gen/smpl/users/v1/users_service_pb.ts";
export { createMocks, type Mocks } from "./mocks.ts";
export type { MockOptions, StartOptions } from "./options.ts";
export type { MockService } from "./service.ts";
export { ListenError, type RunningMocks, type Serving, startMocks } from "./start.ts";
