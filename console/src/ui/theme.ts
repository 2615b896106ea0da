import { createTheme, type MantineColorsTuple } from "@mantine/core";

const ink: MantineColorsTuple = [
  "#eef1ff", "#dbe1fd", "#b4c0f7", "#8b9df2", "#677fed",
  "#4a63dd", "#3a52cf", "#2f47c2", "#26399c", "#1c2b78",
];

/** Dark where white text stands on it, in both themes. */
const red: MantineColorsTuple = [
  "#fff0f2", "#ffdde2", "#f9b8c2", "#ff9a90", "#f4788a",
  "#b4123a", "#9c0f32", "#b4123a", "#9c0f32", "#8f1d12",
];

/** 48 px targets are the normal size here: the console is used with gloves on a tablet, too. */
export const theme = createTheme({
  colors: { ink, red },
  primaryColor: "ink",
  primaryShade: { light: 7, dark: 5 },
  defaultRadius: "md",
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif",
  cursorType: "pointer",
  components: {
    Button: { defaultProps: { size: "md" } },
    TextInput: { defaultProps: { size: "md" } },
    PasswordInput: { defaultProps: { size: "md" } },
    Select: { defaultProps: { size: "md" } },
    Textarea: { defaultProps: { size: "md" } },
    Modal: { defaultProps: { centered: true, closeButtonProps: { "aria-label": "Close", size: 48 }, overlayProps: { backgroundOpacity: 0.6 } } },
  },
});
