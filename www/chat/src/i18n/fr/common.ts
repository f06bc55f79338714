import type { Strings } from "../en";

export const common: Strings["common"] = {
  app: "Minke",
  close: "Fermer",
  cancel: "Annuler",
  save: "Enregistrer",
  delete: "Supprimer",
  copy: "Copier",
  copied: "Copié",
  edit: "Modifier",
  undo: "Annuler",
  more: "Plus",
  ok: "OK",
  skip: "Aller au champ de message",
  loading: "Chargement…",
  notLoaded: "Cette partie de la page n’est pas arrivée. Le réseau est peut-être coupé.",
  dismiss: "Masquer",
  offline: "Hors ligne : les modèles et les conversations enregistrés fonctionnent comme toujours.",
  offlineShort: "Hors ligne",
  newVersion: "Une nouvelle version de cette page est prête.",
  reload: "Recharger",
};
