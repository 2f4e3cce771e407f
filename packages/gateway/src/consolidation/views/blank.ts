import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { membersOf, shapeOf } from "./shape.ts";

/**
 * Makes empty messages of one type, each its own, as `create(desc)` does. Most messages are plain objects, which are
 * faster copied than built; those with defaults of their own have a prototype that only the library knows.
 */
export function blankOf<D extends DescMessage>(desc: D): () => MessageShape<D> {
  const template = create(desc);
  if (Object.getPrototypeOf(template) !== Object.prototype) return () => create(desc);
  // What messages must not share: lists, maps and oneofs.
  const own = membersOf(desc).flatMap((member): [name: string, fresh: () => unknown][] => {
    const { count } = shapeOf(member);
    return count === "one" ? [] : [[member.localName, fresh[count]]];
  });
  return () => {
    const message = { ...template };
    for (const [name, make] of own) (message as Record<string, unknown>)[name] = make();
    return message;
  };
}

const fresh = {
  list: () => [],
  map: () => ({}),
  oneof: () => ({ case: undefined }),
};
