/** The number of nodes on which rooms have members: in turns `least`, one more, and so on up to `most`. */
export interface RoomSpread {
  least: number
  most: number
}

/** The nodes on which a room has members. */
export function nodesOfRoom(room: number, nodes: number, { least, most }: RoomSpread): number[] {
  const count = least + (room % (most - least + 1))
  return Array.from({ length: count }, (_, index) => (room + index) % nodes)
}
