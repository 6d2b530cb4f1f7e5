export type { CloseInfo, TestClient } from './client/client.ts'
export { type Application, type ConnectOptions, connect } from './client/connect.ts'
export { UpgradeRefusedError } from './client/upgrade-refused-error.ts'
