import { t } from "../i18n";
import { Dialog } from "../ui/dialog";

export function TransferDialog({ onClose }: { onClose(): void }) {
  return <Dialog title={t.value.sidebar.transfer} onClose={onClose}>{null}</Dialog>;
}
