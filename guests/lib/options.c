#include "options.h"

#include "text.h"
#include "xen.h"

#define COMMAND_LINE_MAX 512           /* longer ones are cut */
#define MULTIBOOT_INFO_CMDLINE (1 << 2) /* multiboot specification 0.6.96, 3.3: flags, bit 2 */

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
};

static char command_line[COMMAND_LINE_MAX];

void options_read(const void *boot_information)
{
    const struct hvm_start_info *start = boot_information;
    const struct multiboot_info *multiboot = boot_information;
    uint32_t text = 0;
    if (boot_information == NULL)
        return;
    if (start->magic == XEN_HVM_START_MAGIC_VALUE)
        text = (uint32_t)start->cmdline_paddr;
    else if (multiboot->flags & MULTIBOOT_INFO_CMDLINE)
        text = multiboot->cmdline;
    if (text != 0)
        format(command_line, sizeof command_line, "%s", (const char *)text);
}

const char *options_line(void)
{
    return command_line;
}

const char *option_text(const char *name)
{
    size_t length = strlen(name);
    const char *at = command_line;
    while (*at != 0) {
        if (text_starts_with(at, name) && at[length] == '=')
            return at + length + 1;
        while (*at != 0 && *at != ' ')
            at++;
        while (*at == ' ')
            at++;
    }
    return NULL;
}

bool option_ends(const char *at)
{
    return *at == 0 || *at == ' ';
}

bool option_is(const char *name, const char *value)
{
    const char *text = option_text(name);
    return text != NULL && text_starts_with(text, value) && option_ends(text + strlen(value));
}

bool option_number(const char *name, uint32_t *value)
{
    const char *text = option_text(name);
    return text == NULL || (parse_u32(&text, value) && option_ends(text));
}

bool option_ip(const char *name, uint32_t *ip)
{
    const char *text = option_text(name);
    uint32_t address = 0, part;
    if (text == NULL)
        return true;
    for (int i = 0; i < 4; i++) {
        if (!parse_u32(&text, &part) || part > 255 || (i < 3 && *text++ != '.'))
            return false;
        address = address << 8 | part;
    }
    *ip = address;
    return option_ends(text);
}
