export type { CloseInfo, TestClient } from './client.ts'
export { type Application, type ConnectOptions, connect } from './connect.ts'
export { UpgradeRefusedError } from './upgrade-refused-error.ts'
