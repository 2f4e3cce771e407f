import { DurationSchema } from "@bufbuild/protobuf/wkt";
import {
  cases,
  computed,
  constant,
  enumByName,
  mapped,
  nested,
  packed,
  type View,
  view,
} from "@portico/gateway";
import { charms, curios, pubCharms, pubCurios, pubRelics, relics } from "./protos.ts";

// Every shape that protobuf has, without relations: in proto3, in proto2 and in an edition.

const publicGrade = enumByName(curios.GradeSchema, pubCurios.GradeSchema, {
  onUnknown: "pass",
  onUnmapped: "pass",
});

export const knobView = view(curios.KnobSchema, pubCurios.KnobSchema, {});

export const verdictView = view(curios.VerdictSchema, pubCurios.VerdictSchema, {});

export const trapView = view(curios.TrapSchema, pubCurios.TrapSchema, {
  // Every object has functions of these names, which the compiler takes for sources.
  hasOwnProperty: "hasOwnProperty",
  isPrototypeOf: "isPrototypeOf",
  case: cases({ value: "case.value", undefined: nested(verdictView, "case.undefined") }),
});

export const crateView: View<curios.Crate, pubCurios.Crate> = view(
  curios.CrateSchema,
  pubCurios.CrateSchema,
  { curios: nested(() => curioView, "curios") },
);

/** The public has each field under the same number: a curio without secrets has the same bytes on both sides. */
export const curioView: View<curios.Curio, pubCurios.Curio> = view(
  curios.CurioSchema,
  pubCurios.CurioSchema,
  {
    nullValue: "nullValue",
    // What else an Any holds stays inside.
    oneAny: packed("oneAny", [DurationSchema]),
    oneGrade: mapped(publicGrade, "oneGrade"),
    maybeGrade: mapped(publicGrade, "maybeGrade"),
    manyGrade: mapped(publicGrade, "manyGrade"),
    gradesByName: mapped(publicGrade, "gradesByName"),
    gradesByBool: mapped(publicGrade, "gradesByBool"),
    knob: nested(knobView, "knob"),
    manyKnob: nested(knobView, "manyKnob"),
    knobsByName: nested(knobView, "knobsByName"),
    knobsByInt64: nested(knobView, "knobsByInt64"),
    knobsByBool: nested(knobView, "knobsByBool"),
    inner: nested(() => curioView, "inner"),
    parts: nested(() => curioView, "parts"),
    partsByName: nested(() => curioView, "partsByName"),
    crate: nested(crateView, "crate"),
    grip: cases({
      gripText: "grip.gripText",
      gripNumber: "grip.gripNumber",
      gripBytes: "grip.gripBytes",
      gripGrade: mapped(publicGrade, "grip.gripGrade"),
      gripKnob: nested(knobView, "grip.gripKnob"),
      gripCurio: nested(() => curioView, "grip.gripCurio"),
      gripTime: "grip.gripTime",
      gripWrapped: "grip.gripWrapped",
      gripEmpty: "grip.gripEmpty",
    }),
    trap: nested(trapView, "trap"),
    verdict: nested(verdictView, "verdict"),
  },
);

const publicMetal = enumByName(relics.MetalSchema, pubRelics.MetalSchema, {
  onUnknown: "fail",
  onUnmapped: "default",
});

const publicPolish = enumByName(relics.PolishSchema, pubRelics.PolishSchema, { onUnknown: "default" });

const standView = view(relics.Relic_StandSchema, pubRelics.Relic_StandSchema, {});

const splinterView = view(relics.Relic_Shard_SplinterSchema, pubRelics.Relic_Shard_SplinterSchema, {});

const shardView = view(relics.Relic_ShardSchema, pubRelics.Relic_ShardSchema, {
  splinter: nested(splinterView, "splinter"),
});

const graveView = view(relics.Relic_GraveSchema, pubRelics.Relic_GraveSchema, {});

/** From proto2 to proto2, where defaults, groups and closed enums are on both sides. */
export const relicView: View<relics.Relic, pubRelics.Relic> = view(
  relics.RelicSchema,
  pubRelics.RelicSchema,
  {
    stand: nested(standView, "stand"),
    // With a default that the public does not have, so that what is not set must be said.
    maker: computed(["maker"], (maker) => maker),
    metal: mapped(publicMetal, "metal"),
    alloys: mapped(publicMetal, "alloys"),
    polishByPart: mapped(publicPolish, "polishByPart"),
    shard: nested(shardView, "shard"),
    origin: cases({
      dig: "origin.dig",
      smelter: mapped(publicMetal, "origin.smelter"),
      grave: nested(graveView, "origin.grave"),
    }),
    copyOf: nested(() => relicView, "copyOf"),
  },
);

const publicWish = enumByName(charms.WishSchema, pubCharms.WishSchema, {
  onUnknown: "pass",
  onUnmapped: "default",
});

const publicStone = enumByName(charms.StoneSchema, pubCharms.StoneSchema, { onUnknown: "default" });

export const beadView = view(charms.BeadSchema, pubCharms.BeadSchema, {
  // The public side requires it, the internal one does not.
  colour: computed(["colour"], (colour) => colour),
});

/** In one edition, with the other presence and encoding of every field. */
export const charmView: View<charms.Charm, pubCharms.Charm> = view(
  charms.CharmSchema,
  pubCharms.CharmSchema,
  {
    bead: nested(beadView, "bead"),
    beads: nested(beadView, "beads"),
    beadsByPlace: nested(beadView, "beadsByPlace"),
    wish: mapped(publicWish, "wish"),
    stone: mapped(publicStone, "stone"),
    stones: mapped(publicStone, "stones"),
    force: cases({
      level: "power.powerLevel",
      pearl: nested(beadView, "power.powerBead"),
      gem: mapped(publicStone, "power.powerStone"),
    }),
    twin: nested(() => charmView, "twin"),
  },
);

const metalStone = enumByName(relics.MetalSchema, pubCharms.StoneSchema, {
  onUnknown: "pass",
  onUnmapped: "pass",
  renamed: { METAL_IRON: "STONE_JADE", METAL_GOLD: "STONE_AMBER" },
});

/** From proto2 to an edition: a closed enum becomes an open one, defaults become values, groups other messages. */
export const relicAsCharmView: View<relics.Relic, pubCharms.Charm> = view(
  relics.RelicSchema,
  pubCharms.CharmSchema,
  {
    name: "id",
    rune: constant("old"),
    serial: computed(["stand.height"], (height = 0) => BigInt(Math.max(height, 0))),
    luck: constant(undefined),
    bead: constant(undefined),
    beads: constant([]),
    beadsByPlace: constant({}),
    wish: constant(pubCharms.Wish.WEALTH),
    stone: mapped(metalStone, "metal"),
    stones: mapped(metalStone, "alloys"),
    scribble: "origin.dig",
    force: cases({
      level: computed(["worth"], (worth) => worth),
      pearl: constant(undefined),
      gem: constant(undefined),
    }),
    twin: nested(() => relicAsCharmView, "copyOf"),
    findTime: constant(undefined),
  },
);

/** All views that take curios, relics and charms, or what is in them. */
export const cabinetViews = [
  knobView,
  verdictView,
  trapView,
  crateView,
  curioView,
  relicView,
  beadView,
  charmView,
  relicAsCharmView,
];
