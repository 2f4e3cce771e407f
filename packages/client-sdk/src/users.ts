export * from "./gen/smpl/api/users/v1/api_users_service_pb.ts";
