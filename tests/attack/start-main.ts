import { create, type DescService } from "@bufbuild/protobuf";
import { MethodDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { createGateway, loadConfig, type PublicService, StartError, service } from "@portico/gateway";
import { pino } from "pino";
import { services, upstreams } from "../../packages/gateway/src/app/app.ts";
import { MethodPolicySchema } from "../../packages/gateway/src/gen/portico/v1/policy_pb.ts";
import { rebuilt } from "../../packages/gateway/src/testing/rebuilt.ts";

// The program: starts a gateway as somebody would have it who forgets the policy, or wants to go past it. Tells its parent
// where it listens, or writes why it does not start.

const [users, ...others] = services;
if (users === undefined) throw new Error("the application has no service");
const variants: Readonly<Record<string, () => PublicService>> = {
  "as it is": () => users,
  "a method without policy": () => {
    const [desc] = rebuilt(users.desc.file, (proto) => {
      const [first] = proto.name === users.desc.file.proto.name ? proto.service : [];
      const { inputType, outputType } = first?.method[0] ?? {};
      if (first === undefined || inputType === undefined || outputType === undefined) return;
      first.method.push(create(MethodDescriptorProtoSchema, { name: "EraseUser", inputType, outputType }));
    }).services;
    return made(desc ?? users.desc, { ...users.handlers, eraseUser: () => ({}) });
  },
  "a gate of its own": () => made(users.desc, users.handlers, { requestGate: () => {} }),
  "interceptors of its own": () => made(users.desc, users.handlers, { interceptors: [] }),
  "a policy of its own": () => ({
    ...users,
    policy: create(MethodPolicySchema, { access: { case: "anonymous", value: true } }),
  }),
  "options that say nothing": () => made(users.desc, users.handlers, undefined),
};

/** The compiler would not let it pass. */
function made(desc: DescService, handlers: object, ...options: readonly unknown[]): PublicService {
  return Reflect.apply(service, undefined, [desc, handlers, ...options]);
}

try {
  const changed = variants[process.argv[2] ?? ""];
  if (changed === undefined) throw new Error(`${process.argv[2]} is none of ${Object.keys(variants)}`);
  const config = loadConfig({ ...process.env, PORT: "0", ADMIN_PORT: "0" }, ["users", "orders", "inventory"]);
  const log = pino({ level: "silent" });
  const gateway = await createGateway({ config, services: [changed(), ...others], upstreams, log });
  process.send?.(await gateway.listen());
} catch (error) {
  process.stderr.write(error instanceof StartError ? error.message : String(error));
  process.exit(1);
}
