import { describe, expect, test } from "vitest";
import type { App } from "../../application.ts";
import { crateView, warehouse, warehouseService } from "../../testing/warehouse.ts";
import { runCommand } from "../command.ts";

const app: App = {
  services: [warehouseService],
  upstreams: [warehouse],
  views: [crateView],
  loaders: [],
  requests: [],
};
const internal = "acme.internal.warehouse.v1";

async function expose(args: string) {
  let [out, err] = ["", ""];
  const code = await runCommand(["expose", ...args.split(" ").filter(Boolean)], {
    env: {},
    app: async () => app,
    project: { appFolder: "/nowhere/app", run: async () => ({ code: 1, output: "" }) },
    now: () => 0,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { code, out, err };
}

describe("portico expose", () => {
  test.each([
    ["", "give one internal field"],
    [`${internal}.Crate.code ${internal}.Crate.seal`, "give one internal field"],
    [`${internal}.Crate.secret_note`, "--as is not given"],
    [`${internal}.Crate.gone --as Crate.gone`, "is no field that the internal services have"],
    [`${internal}.Hazard.HAZARD_FLAMMABLE --as Crate.hot`, "is a value: add one to the public enum"],
    ...["note2", ".mark", "Crate.", "Crate.Mark", "Crate.9th", "Crate.a__b", "Crate.a_", "Crate.ä"].map(
      (as) => [`${internal}.Crate.secret_note --as ${as}`, "--as is "],
    ),
    [`${internal}.Crate.secret_note --as Box.mark`, "there is no public message Box: there are acme.api."],
    [`${internal}.Crate.secret_note --as rate.mark`, "there is no public message rate"],
    [`${internal}.Crate.secret_note --as Crate.code`, "Crate has a field code already"],
    ...["Crates.Read", "crates.", "crates.*", "*"].map((permission) => [
      `${internal}.Crate.secret_note --as Crate.mark --permission ${permission}`,
      "--permission is ",
    ]),
  ])("does not understand: %s", async (args = "", says = "") => {
    const { code, out, err } = await expose(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(says);
    expect(err).toContain('"portico expose --help" tells more.');
  });

  test("changes nothing where it does not find the protos, and says so", async () => {
    expect(await expose(`${internal}.Crate.secret_note --as acme.api.warehouse.v1.Crate.mark`)).toEqual({
      code: 1,
      out: "",
      err: "No folder above /nowhere/app has a buf.yaml, which says where the protos are\nNothing was changed.\n",
    });
  });
});
