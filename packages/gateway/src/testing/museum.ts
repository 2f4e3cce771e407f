import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Archive_Era, TicketSchema } from "../../../../tests/gen/acme/api/museum/v1/exhibit_pb.ts";
import { CuratorService, MuseumService } from "../../../../tests/gen/acme/api/museum/v1/museum_service_pb.ts";
import { PublicError } from "../errors.ts";
import { service } from "../service.ts";

// Public services for several audiences.

const stone = { colour: "amber", age: 40_000_000n, fossil: { name: "gnat" } };

export const museum = service(MuseumService, {
  getExhibit: ({ name }) => {
    if (name === "") throw new PublicError("NOT_FOUND", "There is no exhibit without a name.");
    const exhibit = {
      name,
      era: Archive_Era.BRONZE,
      label: { text: "old" },
      kind: { case: "stone", value: stone },
    } as const;
    return { exhibit, extra: anyPack(TicketSchema, create(TicketSchema, { number: "7" })) };
  },
  watchExhibits: async function* () {
    yield { exhibit: { name: "amber" } };
  },
  appraiseExhibit: () => ({}),
  openVault: () => ({}),
});

export const curator = service(CuratorService, { addExhibit: () => ({}) });
